import os
import sys
from pathlib import Path

import pytest

# The neutral contract lies beside the distributions, which all run through it.
sys.path.insert(0, str(Path(__file__).parents[2]))
pytest.register_assert_rewrite("contract", "vector_store_contract")

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.pop("OPENAI_API_KEY", None)

from collections.abc import Iterator  # noqa: E402

from contract import opened, shared_encoder  # noqa: E402
from llama_index.core import Settings  # noqa: E402
from llama_index.core.instrumentation import get_dispatcher  # noqa: E402
from llama_index.core.instrumentation.event_handlers import BaseEventHandler  # noqa: E402
from llama_index.core.instrumentation.events import BaseEvent  # noqa: E402

from llama_index.embeddings.tercet import TercetEmbedding  # noqa: E402
from tercet import HybridIndex  # noqa: E402
from tercet.encoders.base import Encoder  # noqa: E402


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return shared_encoder()


@pytest.fixture(params=["memory", "embedded"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HybridIndex]:
    with opened(request.param, tmp_path) as index:
        yield index


@pytest.fixture
def memory_index(encoder: Encoder) -> HybridIndex:
    """Where the engine makes no difference."""
    return HybridIndex.in_memory(encoder=encoder)


@pytest.fixture
def embed_model(encoder: Encoder) -> TercetEmbedding:
    return TercetEmbedding(encoder)


@pytest.fixture(autouse=True)
def nothing_from_settings() -> Iterator[None]:
    """LlamaIndex's global settings stay empty: what asks them for a model has not been handed ours."""
    yield
    assert Settings._llm is None
    assert Settings._embed_model is None


class Recorder(BaseEventHandler):
    """Keeps every event that is fired."""

    events: list[BaseEvent]

    def handle(self, event: BaseEvent, **kwargs: object) -> None:
        self.events.append(event)

    def of(self, kind: type[BaseEvent]) -> list[BaseEvent]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    dispatcher = get_dispatcher()
    recorder = Recorder(events=[])
    dispatcher.add_event_handler(recorder)
    yield recorder
    dispatcher.event_handlers.remove(recorder)
