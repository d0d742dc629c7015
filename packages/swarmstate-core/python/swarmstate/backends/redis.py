"""An alias for the store in Redis; needs swarmstate-redis."""

try:
    from swarmstate_redis import RedisStore
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"expected the Redis store to be installed, found no module {error.name!r}; "
        "run: pip install swarmstate-redis",
        name=error.name,
    ) from error

__all__ = ["RedisStore"]
