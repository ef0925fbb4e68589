from support.film import film

__all__ = ["film"]
