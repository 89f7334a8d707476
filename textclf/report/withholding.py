"""The line of a saved version that is not current: what is, and how to promote the new version."""

import click

from textclf.store.model_store import ModelStore


def report_withheld(store: ModelStore, version_id: str) -> None:
    """Print why the new version is not current, if no version of the store is."""
    if store.current_id() is None:
        click.echo(promotion_line(store, version_id, "none, because the model is below its floor"))


def promotion_line(store: ModelStore, version_id: str, current: str) -> str:
    """The line that says what is current, and names the command that makes the new version current."""
    change = f"textclf versions promote {version_id} {store.option}"
    return f"current:       {current}; to make the new version current: {change}"
