"""Run the notebooks, and make pages and slides of them."""
