"""The processes: settings are wired into parts, signals stop them, health is served."""
