"""Capacities of any memory, as `dispersed capacity` and Figure 3 measure them."""
