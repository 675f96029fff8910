"""How many inputs were tried at each door, said at the end."""

from collections import Counter


def pytest_terminal_summary(terminalreporter):
    tried = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                tried.update({door: count for name, (door, count) in report.user_properties if name == "fuzz"})
    if tried:
        terminalreporter.section(f"{tried.total()} inputs at {len(tried)} doors")
        terminalreporter.write_line(", ".join(f"{door} {count}" for door, count in sorted(tried.items())))
