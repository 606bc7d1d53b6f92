"""Components of any kind that break one demand each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from good_components import GoodReward, breaks


@breaks("is_documented")
class Undocumented(GoodReward):
    pass


@breaks("api_version_is_supported")
class FromTheFuture(GoodReward):
    """Written for a later rilbench."""

    api_version = 99


@dataclass
class Thawed:
    strength: float = 1.0


@breaks("settings_are_a_frozen_dataclass")
class ThawedSettings(GoodReward):
    """Settings that can change."""

    Settings = Thawed


@dataclass(frozen=True)
class Needy:
    strength: float


@breaks("settings_can_be_built")
class NeedySettings(GoodReward):
    """A setting without default, and none is given."""

    Settings = Needy


@dataclass(frozen=True)
class Raw:
    key: bytes = b"abc"


@breaks("settings_can_be_stored")
class RawSettings(GoodReward):
    """A setting that no file of a run can hold."""

    Settings = Raw


@dataclass(frozen=True)
class Untyped:
    strength: Any = 1.0


@breaks("settings_refuse_wrong_types")
class UntypedSettings(GoodReward):
    """A setting of any type."""

    Settings = Untyped


@dataclass(frozen=True)
class Rude:
    mode: str = "mean"

    def __post_init__(self) -> None:
        {"mean": 1, "sum": 2}[self.mode]


@breaks("settings_refuse_wrong_types")
class RudeSettings(GoodReward):
    """A wrong value is a KeyError."""

    Settings = Rude


@breaks("files_are_declared")
class NamesOnly(GoodReward):
    """Files as mere names."""

    @classmethod
    def files(cls, settings: Any) -> Any:
        return ["weights.pth"]


@breaks("can_be_made")
class NoDevice(GoodReward):
    """The constructor takes no device."""

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)


@breaks("can_be_made")
class Quitter(GoodReward):
    """Ends the process."""

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        raise SystemExit(3)
