"""The rules of tools/tidy: functions from files (a dict from path to text) to findings (printable lines)."""
