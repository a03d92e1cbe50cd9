"""Benchmarks of views, step, pipeline, data and evaluation, alone and against other libraries: `ssl-zoo bench`.

`peers` (the same work by other libraries) and `roofline` (the limit of the hardware) are tools for developers of this
package, and no part of its API.
"""
