"""Figures. The core never plots; this package only draws what it is given."""
