"""State layer under AI agents: records, snapshots, codec and file storage."""
