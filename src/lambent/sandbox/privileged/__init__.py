"""What runs as root, or inside a cage: the launcher, the zygotes, each environment's init.

Only the standard library, and nothing newer than Python 3.8: a zygote runs on the function's own interpreter. Modules
import each other relatively, because the interpreter in the cage does not know the package above this one.
"""
