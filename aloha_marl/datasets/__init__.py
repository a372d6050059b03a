"""Recorded episodes: to record, to replay, and to learn from."""

from aloha_marl.datasets.dataset import Chunks, Dataset, open
from aloha_marl.datasets.episode import Episode
from aloha_marl.datasets.recorder import Plan, Recorder, Result
from aloha_marl.datasets.replay import Rendering, Replay, replay
from aloha_marl.datasets.workers import RecordingError, record

__all__ = ["Chunks", "Dataset", "Episode", "Plan", "Recorder", "RecordingError", "Rendering"]
__all__ += ["Replay", "Result", "open", "record", "replay"]
