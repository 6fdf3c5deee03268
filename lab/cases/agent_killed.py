"""The holder's agent is killed again and again: the group goes on where it is."""

from lab.case import Lab


def run(lab: Lab) -> None:
    holder = lab.holder()
    lab.fault(f"{holder.name}: ten times SIGKILL for the agent", lambda: None)
    for _ in range(10):
        holder.sh("systemctl kill --kill-whom=main -s KILL clpnode; sleep 3")
    lab.stays(holder, 20)
    if len({word.run for word in lab.words()}) != 1:
        raise AssertionError("the workload was started anew")
