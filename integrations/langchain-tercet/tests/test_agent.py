"""The retriever as a tool, with a tenant for each user, in a LangGraph agent."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import ConfigurableField
from langchain_core.tools import BaseTool
from langchain_core.tools.retriever import create_retriever_tool
from tercet import HybridIndex

from langchain_tercet import TercetRetriever, TercetVectorStore

QUERY = "how often must keys be changed?"


@pytest.fixture
def tool(index: HybridIndex) -> BaseTool:
    for tenant, days in (("acme", 90), ("globex", 30)):
        store = TercetVectorStore(index, tenant=tenant)
        store.add_texts([f"Keys are rotated every {days} days.", "Backups run at night."], ids=["keys", "backup"])
    retriever: Any = TercetRetriever(index=index, k=1, require_tenant=True).configurable_fields(
        tenant=ConfigurableField(id="tenant")
    )
    return create_retriever_tool(
        retriever,
        "search_handbook",
        "Searches the handbook of the user's company.",
        response_format="content_and_artifact",
        document_prompt=PromptTemplate.from_template("[{relevance_score}] {page_content}"),
    )


def call(number: int = 0) -> ToolCall:
    return ToolCall(name="search_handbook", args={"query": QUERY}, id=f"call-{number}", type="tool_call")


@pytest.mark.parametrize(("tenant", "days"), [("acme", 90), ("globex", 30)])
async def test_a_tool_answers_for_the_user_that_asks(tool: BaseTool, tenant: str, days: int) -> None:
    config: Any = {"configurable": {"tenant": tenant}}
    for message in (tool.invoke(call(), config), await tool.ainvoke(call(), config)):
        assert isinstance(message, ToolMessage)
        [document] = message.artifact
        assert (document.id, document.metadata["tenant"]) == ("keys", tenant)
        assert message.content == f"[{document.metadata['relevance_score']}] Keys are rotated every {days} days."


async def test_without_a_user_a_tool_does_not_search(tool: BaseTool) -> None:
    with pytest.raises(ValueError, match="needs a tenant"):
        tool.invoke(call())
    with pytest.raises(ValueError, match="needs a tenant"):
        await tool.ainvoke(call())


@pytest.mark.parametrize("awaited", [False, True])
async def test_an_agent_searches_for_its_user(tool: BaseTool, awaited: bool) -> None:
    langgraph = pytest.importorskip("langgraph.graph")
    prebuilt = pytest.importorskip("langgraph.prebuilt")

    def agent() -> Any:
        model = GenericFakeChatModel(
            messages=iter([AIMessage("", tool_calls=[call(1)]), AIMessage("As the handbook says.")])
        )
        graph = langgraph.StateGraph(langgraph.MessagesState)
        graph.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
        graph.add_node("tools", prebuilt.ToolNode([tool]))
        graph.add_edge(langgraph.START, "model")
        graph.add_conditional_edges("model", prebuilt.tools_condition)
        graph.add_edge("tools", "model")
        return graph.compile()

    for tenant in ("acme", "globex"):
        asked: Any = {"messages": [HumanMessage(QUERY)]}
        config: Any = {"configurable": {"tenant": tenant}}
        state = await agent().ainvoke(asked, config) if awaited else agent().invoke(asked, config)

        [answer] = [message for message in state["messages"] if isinstance(message, ToolMessage)]
        assert [document.metadata["tenant"] for document in answer.artifact] == [tenant]
        assert state["messages"][-1].content == "As the handbook says."
