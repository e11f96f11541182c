from pathlib import Path
from typing import Any

from keras_tuner import Oracle

from keras_pamunet.workers import is_at_work

WORKERS, MESSAGE = "workers", "message.txt"


class ChiefOracle(Oracle):
    """Gives the trials of a search to workers, each once, whoever dies.

    KerasTuner would wait for ever for a worker that died, and once the chief is
    started anew give away the trials of those at work. To be mixed into an oracle of
    KerasTuner.

    Args:
        folder: of KerasTuner's files, which the workers share. Each holds a lock in
            `workers/<name>` while it is at work, and leaves what its trial has to
            say in `trial_<number>/message.txt`, for which KerasTuner's protocol has no
            room.
        progress: whether to say which trials begin and end.
        **arguments: of the oracle.
    """

    def __init__(self, *, folder: Path, progress: bool, **arguments: Any):
        super().__init__(**arguments)
        self.folder = folder
        self.progress = progress
        self.verbose = 0  # KerasTuner's display is of one trial at a time.

    def create_trial(self, tuner_id: str) -> Any:
        """A new trial, one that a dead worker left, or word to wait or to end.

        Raises:
            ValueError: if the worker's lock cannot be seen from here.
        """
        if not self._is_at_work(tuner_id):
            raise ValueError(
                f"Expected the chief to see the lock of the worker {tuner_id!r} in "
                f"{self.folder / WORKERS}. Both need one folder, on a file system "
                "whose locks hold between machines."
            )
        trial = super().create_trial(tuner_id)
        if trial.status in ("IDLE", "STOPPED"):
            trial = self._of_a_dead_worker(tuner_id) or trial
        if trial.status == "STOPPED" and self.ongoing_trials:
            trial.status = "IDLE"  # Whoever has the last trial may die.
            self.tuner_ids.add(tuner_id)
        elif trial.status == "STOPPED":
            for name in [*self.tuner_ids]:
                if not self._is_at_work(name):
                    self.tuner_ids.discard(name)
        elif trial.status == "RUNNING":
            self._say(f"Trial {trial.trial_id}: with worker {tuner_id}")
        return trial

    def end_trial(self, trial: Any) -> None:
        message = self.folder / f"trial_{trial.trial_id}" / MESSAGE
        trial.message = message.read_text("utf-8") or None
        super().end_trial(trial)
        ended = len({*self.end_order})
        scores = (x.score for x in self.trials.values() if x.score is not None)
        best = max(scores, default=0)
        self._say(f"Trial {trial.trial_id}: ended, {ended} have. Best Dice {best:.3f}")

    def set_state(self, state: dict[str, Any]) -> None:
        """As saved, but nothing waits for another worker than the one that has it."""
        super().set_state({**state, "ongoing_trials": {}, "retry_queue": []})
        self._holders = {
            number: name for name, number in state["ongoing_trials"].items()
        }

    def reload(self) -> None:
        super().reload()
        self.ongoing_trials = {
            self._holders.get(number, number): trial
            for number, trial in self.trials.items()
            if trial.status == "RUNNING"
        }

    def _is_at_work(self, name):
        return is_at_work(self.folder / WORKERS, name)

    def _of_a_dead_worker(self, tuner_id):
        for name in self.ongoing_trials:
            if not self._is_at_work(name):
                self.tuner_ids.discard(name)
                self.tuner_ids.add(tuner_id)
                trial = self.ongoing_trials[tuner_id] = self.ongoing_trials.pop(name)
                self.save()
                return trial
        return None

    def _say(self, text):
        if self.progress:
            print(text, flush=True)
