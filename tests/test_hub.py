from pathlib import Path

import pytest

from tercet.errors import CheckpointError
from tercet.hub import find_model


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert find_model(tmp_path) == tmp_path


def test_what_is_neither_a_folder_nor_a_hub_name_is_told() -> None:
    for name in ("nowhere", "./nowhere/at-all", "/nowhere/at/all"):
        with pytest.raises(CheckpointError, match="name a folder that exists, 'organisation/model' of a hub"):
            find_model(name)


def test_a_copy_in_the_hubs_cache_is_found_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0123456789" * 4
    repository = tmp_path / "models--org--model"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    assert find_model("org/model") == snapshot


def test_a_pickle_beside_safetensors_is_left_alone_and_one_without_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(CheckpointError, match=r"pickled weights \(pytorch_model.bin\) and no safetensors"):
        find_model(tmp_path)
    (tmp_path / "model.safetensors").touch()

    assert find_model(tmp_path) == tmp_path
