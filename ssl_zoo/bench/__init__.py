"""How fast: views, step, pipeline, data and evaluation, alone and against other libraries. `ssl-zoo bench` runs it."""
