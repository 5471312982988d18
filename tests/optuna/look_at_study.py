"""Opens a study that is being searched with optuna.load_study and in optuna-dashboard.

look_at_study.py JOURNAL DASHBOARD PORT [finished]

Prints what Optuna sees; fails where a trial lacks what it should have. With "finished" every trial
has ended. DASHBOARD is the program optuna-dashboard; empty: the journal alone is read.
"""
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

PATIENCE_SECONDS = 60


def load(journal):
    storage = JournalStorage(JournalFileBackend(journal))
    return optuna.load_study(study_name="mixrec", storage=storage)


def check(study, finished):
    states = {state.name: 0 for state in TrialState}
    for number, trial in enumerate(study.trials):
        assert trial.number == number, (trial.number, number)
        assert trial.params, f"trial {number} has no parameters"
        assert set(trial.user_attrs["architecture"]) <= {"0", "1"}, trial.user_attrs
        assert trial.user_attrs["lease"]["attempt"] >= 1, trial.user_attrs
        if trial.state == TrialState.COMPLETE:
            assert trial.values is not None, trial
            assert max(trial.intermediate_values.values()) == trial.value, trial
        states[trial.state.name] += 1
    assert not finished or states["COMPLETE"] == len(study.trials), states
    print("optuna", optuna.__version__, {name: n for name, n in states.items() if n})
    return states


def get(url):
    until = time.time() + PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.read().decode()
        except (urllib.error.URLError, ConnectionError):
            if time.time() > until:
                raise
            time.sleep(0.2)


def check_dashboard(dashboard, journal, port, at_least):
    server = subprocess.Popen([dashboard, journal, "--port", str(port)],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        page = get(f"http://127.0.0.1:{port}/dashboard/")
        assert "<html" in page.lower(), page[:200]
        studies = json.loads(get(f"http://127.0.0.1:{port}/api/studies"))["study_summaries"]
        assert [study["study_name"] for study in studies] == ["mixrec"], studies
        number = studies[0]["study_id"]
        detail = json.loads(get(f"http://127.0.0.1:{port}/api/studies/{number}"))
        trials = detail["trials"]
        assert len(trials) >= at_least, (len(trials), at_least)
        ended = [trial for trial in trials if trial["state"] == "Complete"]
        assert all(trial["values"] for trial in ended), ended
        print(f"optuna-dashboard: {len(trials)} trials, {len(ended)} complete")
    finally:
        server.terminate()
        server.wait()


def main():
    journal, dashboard, port = sys.argv[1:4]
    study = load(journal)
    check(study, finished="finished" in sys.argv[4:])
    if dashboard:
        check_dashboard(dashboard, journal, port, at_least=len(study.trials))


main()
