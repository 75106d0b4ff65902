"""Every experiment beside the paper: the catalogue of them, what a run leaves on disk, and the page that shows it."""
