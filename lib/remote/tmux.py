"""The scripts of a pod: its first one, the job in tmux, which outlives connections, a look at it."""

import shlex
from dataclasses import dataclass

from lib.remote.seam import Work

FRESH_S = 90  # a watchdog that has not written for longer is dead

# PID 1's environment is what the create sent, and RunPod's own. The host key is home's, so home can check it;
# the watchdog is the first thing to run; then the image's own start, which brings up sshd for PUBLIC_KEY.
BOOT = """\
mkdir -p "$REPLIES_ROOT/etc/ssh" "$REPLIES_ROOT/workspace/.watchdog"
umask 077
key="$REPLIES_ROOT/etc/ssh/ssh_host_ed25519_key" dog="$REPLIES_ROOT/workspace/.watchdog"
printf %s "$REPLIES_HOST_KEY" | base64 -d > "$key"
ssh-keygen -y -f "$key" > "$key.pub"
printf %s "$REPLIES_WATCHDOG" | base64 -d > "$dog/watchdog.py"
umask 022
(setsid python3 "$dog/watchdog.py" </dev/null >"$dog/log" 2>&1 &)
exec "$REPLIES_ROOT/start.sh"
"""


@dataclass(frozen=True)
class Place:
    """Where things lie on a pod. root: "" on a real one."""

    root: str = ""

    @property
    def workspace(self) -> str:
        return f"{self.root}/workspace"

    @property
    def project(self) -> str:
        return f"{self.workspace}/replies"

    @property
    def results(self) -> str:
        return f"{self.workspace}/results"

    @property
    def watchdog_command(self) -> str:
        """Prints the age of the watchdog's state in seconds, then the state."""
        state = shlex.quote(f"{self.workspace}/.watchdog/state.json")
        return f"echo $(( $(date +%s) - $(stat -c %Y {state}) )); cat {state}"


def unpack_command(place: Place) -> str:
    """Reads the parcel from stdin into the project's folder, after installing what builds and keeps it."""
    project = shlex.quote(place.project)
    return f"{{ {install('tmux', 'make')}; }} </dev/null && mkdir -p {project} && tar -xzf - -C {project}"


def install(*names: str) -> str:
    """Installs what is missing of an image of Debian's kin."""
    there = " && ".join(f"command -v {name} >/dev/null" for name in names)
    packages = " ".join(names)
    get = f"apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq {packages}"
    return f"{there} || {{ {get}; }} >/dev/null 2>&1"


def work_script(place: Place, work: Work) -> str:
    """The job as a bash script: its commands, then the parcel home, whatever went wrong before.

    An ssh session does not see what the create put into the environment: the token, and nothing else, is read
    from PID 1.
    """
    environ = shlex.quote(f"{place.root}/proc/1/environ")
    return f"""\
cd {shlex.quote(place.project)}
export HF_HOME={shlex.quote(place.workspace + "/hf")} PYTHONUNBUFFERED=1 ON=here
export HF_TOKEN="$(tr '\\0' '\\n' < {environ} | sed -n 's/^HF_TOKEN=//p' | head -n 1)"
[ -n "$HF_TOKEN" ] || unset HF_TOKEN
{steps(work, place.results)}
exit $code
"""


def steps(work: Work, results: str) -> str:
    """The lines that do the work and leave its exit status in $code; results: path without ending."""
    return f"""\
( set -e
{work.setup}
{work.train}
{work.replies}
)
code=$?
{work.pack} --out {shlex.quote(results)}.tar --exit-code $code"""


def start_command(place: Place) -> str:
    """Reads the script from stdin and starts it, unless a session of it is there already."""
    folder, socket = shlex.quote(place.workspace), shlex.quote(f"{place.workspace}/.tmux")
    end = "echo $? > work.exit.partial; mv work.exit.partial work.exit"
    session = shlex.quote(f"cd {folder}; bash work.sh > work.log 2>&1; {end}")
    return (
        f"cd {folder} && cat > work.sh.partial && mv work.sh.partial work.sh && "
        f"{{ tmux -S {socket} has-session -t work 2>/dev/null || "
        f"tmux -S {socket} new-session -d -s work {session}; }}"
    )


def poll_command(place: Place, offset: int, limit: int = 262_144) -> str:
    """Prints `new`, `running`, `gone` or the exit status, a newline, then the log from byte offset on."""
    folder, socket = shlex.quote(place.workspace), shlex.quote(f"{place.workspace}/.tmux")
    return (
        f"cd {folder} && if [ -f work.exit ]; then cat work.exit; "
        f"elif tmux -S {socket} has-session -t work 2>/dev/null; then echo running; "
        "elif [ -f work.exit ]; then cat work.exit; "  # it may have ended between the two looks
        "elif [ -f work.log ]; then echo gone; else echo new; fi; "
        f"[ ! -f work.log ] || tail -c +{offset + 1} work.log | head -c {limit}"
    )
