"""An agent in LangGraph: the retriever is its tool, the run's tenant decides what it finds. By name, or offline.

`python … openai:gpt-5-mini` makes an agent whose model calls the tool when it wants to. The small offline model cannot
be trusted with that, so its graph always calls the tool. Both keep a conversation for each user.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from chat_models import INSTRUCTION, READERS, chosen_model, cited, handbook, langchain_model, questions
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import ConfigurableField
from langchain_core.tools import BaseTool, create_retriever_tool
from langchain_tercet import TercetRetriever
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode

from tercet import HybridIndex

QUESTIONS = ("What is lost when the process is killed?", "Which tests need a server?")
REMEMBERED = 5  # messages, the question among them


def search_tool(index: HybridIndex) -> BaseTool:
    """The retriever as a tool that sees the documents of config["configurable"]["tenant"], and refuses without one."""
    retriever = TercetRetriever(index=index, k=3, require_tenant=True)
    return create_retriever_tool(
        retriever.configurable_fields(tenant=ConfigurableField(id="tenant")),
        "search_handbook",
        "Passages of the handbook that answer a question.",
        response_format="content_and_artifact",
    )


def tool_calling_agent(model: BaseChatModel, search: BaseTool) -> CompiledStateGraph[Any]:
    """The model decides when to search and what for."""
    instruction = "Answer from what search_handbook finds, in one short sentence."
    return create_agent(model, [search], system_prompt=instruction, checkpointer=InMemorySaver())


def always_searching_agent(model: BaseChatModel, search: BaseTool) -> CompiledStateGraph[Any]:
    """The graph searches for each question in its own words; the model only writes the answer."""

    def look_up(state: MessagesState) -> dict[str, list[AnyMessage]]:
        call = {"name": search.name, "args": {"query": state["messages"][-1].text}, "id": str(uuid4())}
        return {"messages": [AIMessage("", tool_calls=[call])]}

    def answer(state: MessagesState) -> dict[str, list[AnyMessage]]:
        passages = state["messages"][-1].text
        spoken = [message for message in state["messages"] if message.type in ("human", "ai") and message.text]
        return {
            "messages": [model.invoke([SystemMessage(INSTRUCTION.format(passages=passages)), *spoken[-REMEMBERED:]])]
        }

    graph = StateGraph(MessagesState)
    graph.add_sequence([("look_up", look_up), ("search", ToolNode([search])), ("answer", answer)])
    graph.set_entry_point("look_up")
    return graph.compile(checkpointer=InMemorySaver())


def sources(messages: list[AnyMessage]) -> list[str]:
    """The ids of what the tool found since the last question, each once."""
    asked = max(place for place, message in enumerate(messages) if isinstance(message, HumanMessage))
    found = (message.artifact for message in messages[asked:] if isinstance(message, ToolMessage))
    return list(dict.fromkeys(str(document.id) for documents in found for document in documents or ()))


def main() -> None:
    name = chosen_model()
    with handbook() as index:
        build = tool_calling_agent if name else always_searching_agent
        agent = build(langchain_model(name), search_tool(index))
        for tenant in READERS:
            print(f"--- {tenant}")
            config = {"configurable": {"tenant": tenant, "thread_id": tenant}}
            for question in questions(QUESTIONS):
                messages = agent.invoke({"messages": [HumanMessage(question)]}, config)["messages"]
                print(cited(messages[-1].text, sources(messages)))


if __name__ == "__main__":
    main()
