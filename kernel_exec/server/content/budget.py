"""How much one reply may hold."""

from dataclasses import dataclass

from kernel_exec.settings import Settings

__all__ = ["Budget"]


@dataclass(frozen=True, slots=True)
class Budget:
    """The size of one reply, however many executions it tells of.

    *max_chars* counts characters of output; markers, notes and status lines come on top.
    """

    max_chars: int = 10_000
    max_images: int = 4
    image_limit_bytes: int = 700_000
    image_limit_pixels: int = 1_568

    @classmethod
    def of(cls, settings: Settings, max_chars: int | None = None) -> "Budget":
        """The budget that the settings give; *max_chars* is what the call asks for."""
        return cls(
            settings.max_chars if max_chars is None else max_chars,
            settings.max_images,
            settings.image_limit_bytes,
            settings.image_limit_pixels,
        )
