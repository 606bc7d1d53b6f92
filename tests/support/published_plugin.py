"""A plugin as somebody publishes it for API version 1."""

from __future__ import annotations

from dataclasses import dataclass

from rilbench import ConfigError, MeanMetric, Metric, Reward, Stage, Strategy, hookimpl


@dataclass(frozen=True)
class WindowSettings:
    share: float = 0.5

    def __post_init__(self):
        if not 0 < self.share <= 1:
            raise ConfigError(f"share: {self.share} is not between 0 and 1")


class Window(Reward):
    """The brightness of the middle of an image."""

    api_version = 1
    Settings = WindowSettings
    metrics = ("frozen_contrast",)

    def __call__(self, images, prompts):
        side = max(1, int(images.shape[-1] * self.settings.share))
        start = (images.shape[-1] - side) // 2
        return images[..., start : start + side, start : start + side].mean((1, 2, 3))


class Contrast(MeanMetric):
    """The standard deviation of the pixels."""

    api_version = 1
    higher_is_better = False

    def score(self, images, prompts, *, base_images=None):
        return images.std((1, 2, 3))


class Brightest(Metric):
    """The brightest pixel of all images."""

    api_version = 1
    higher_is_better = True
    unit = "of 1"

    def reset(self):
        self.value = float("nan")

    def update(self, images, prompts, *, base_images=None):
        self.value = max(images.max().item(), -1.0 if self.value != self.value else self.value)

    def compute(self):
        return self.value


class Twice(Strategy):
    """Trains each reward twice, the second time on top of the first."""

    api_version = 1

    def plan(self, rewards):
        return [Stage(rewards={name: 1.0}) for name in rewards for _ in range(2)]

    def begin(self, stage, pair):
        self.updates = 0

    def loss(self, step):
        return step.term("reward", -step.reward(step.decode(step.denoise())))

    def after_update(self, step):
        self.updates += 1


class Diary:
    """Writes down when something happens."""

    @hookimpl
    def run_started(self, folder, result):
        self._write(folder, "started")

    @hookimpl
    def stage_finished(self, folder, result, stage):
        self._write(folder, f"stage {stage}")

    @hookimpl
    def run_finished(self, folder):
        self._write(folder, "finished")

    @hookimpl
    def run_failed(self, folder, error):
        self._write(folder, f"failed: {error}")

    def _write(self, folder, text):
        with (folder / "diary.txt").open("a") as file:
            file.write(f"{text}\n")
