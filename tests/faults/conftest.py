"""The folders of the fault suite: each stage's as it is before the command, and after it without a fault."""

import shutil

import pytest

from tests.faults.disk import Command, run_in
from tests.faults.stages import NEED_A_RUN, STAGES, TRAIN

COMMANDS = {**STAGES, "train": TRAIN}


class Worlds:
    """name -> the folder before a stage's command (`before`), and what came of it (`whole`), made once."""

    def __init__(self, root, trained):
        self.root, self.trained, self._before, self._whole = root, trained, {}, {}

    def before(self, name):
        if name not in self._before:
            stage, folder = COMMANDS[name], self.root / f"{name}-before"
            if isinstance(stage.build, str):
                shutil.copytree(self.whole(stage.build)[0], folder, symlinks=True)
            else:
                folder.mkdir()
                stage.build(*([self.trained()] if stage.build in NEED_A_RUN else []), folder)
            stage.also(folder)
            self._before[name] = folder
        return self._before[name]

    def whole(self, name):
        """(folder, its result, what was bought, the calls) of a run that nothing disturbed."""
        if name not in self._whole:
            stage, folder = COMMANDS[name], self.root / f"{name}-whole"
            shutil.copytree(self.before(name), folder, symlinks=True)
            with stage.serve() as served:
                done = run_in(folder, commanded(name, served))
                assert done.code == 0, done.said
                bought, n_paid = served.bought(), served.n_paid()
            self._whole[name] = folder, stage.result(folder), bought, n_paid, done.calls
        return self._whole[name]


def commanded(name, served, elsewhere=None):
    """The stage's command, as it is run with these servers."""
    environment = {"YES": "1", "MAX_USD": None, "AGAIN": None, **served.environment}
    return Command(name, environment, elsewhere)


@pytest.fixture(scope="session")
def worlds(tmp_path_factory, request):
    return Worlds(tmp_path_factory.mktemp("faults"), lambda: request.getfixturevalue("trained"))
