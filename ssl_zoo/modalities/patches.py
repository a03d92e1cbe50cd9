"""Views and the patches that encoders cut them into."""


def patches_left_over(key: str, side: int, patch: int, name: str) -> str:
    """Return the sentence for views whose border an encoder of patches would not see."""
    near = [str(size) for size in (side // patch * patch, (side // patch + 1) * patch) if size]
    return (
        f"{key}: {side} is no multiple of the patch size {patch}; use {' or '.join(near)} "
        f"(encoder {name} would not see the border)."
    )
