"""Changes to topics that a test makes while processes run."""

from __future__ import annotations

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource


def set_max_bytes(admin: AdminClient, topic: str, number: int) -> None:
    """Sets max.message.bytes of a topic."""
    set_number(admin, topic, "max.message.bytes", number)


def set_number(admin: AdminClient, topic: str, name: str, number: int) -> None:
    """Sets one of a topic's properties."""
    entry = ConfigEntry(name, str(number), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result()
