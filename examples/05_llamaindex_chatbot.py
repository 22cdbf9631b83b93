"""A chatbot in LlamaIndex: a chat engine that retrieves, remembers and cites; offline, or `… openai:gpt-5-mini`."""

from __future__ import annotations

from chat_models import INSTRUCTION, chosen_model, cited, handbook, llama_index_model, questions
from llama_index.core.chat_engine import ContextChatEngine
from llama_index.core.chat_engine.types import AgentChatResponse
from llama_index.core.llms import LLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.retrievers import BaseRetriever
from llama_index.retrievers.tercet import TercetRetriever

QUESTIONS = (
    "How do I filter by year?",
    "What is lost when the process is killed?",
    "May several programs open one directory?",
)


def chatbot(retriever: BaseRetriever, model: LLM) -> ContextChatEngine:
    """An engine that puts the passages of each question before it and keeps the conversation."""
    return ContextChatEngine.from_defaults(
        retriever=retriever,
        llm=model,
        # A list of messages. The newer Memory keeps them in a database in memory, which nothing closes.
        memory=ChatMemoryBuffer.from_defaults(token_limit=1000),
        context_template=INSTRUCTION.format(passages="{context_str}"),
    )


def sources(response: AgentChatResponse) -> list[str]:
    return [found.node.node_id for found in response.source_nodes]


def main() -> None:
    with handbook() as index:
        retriever = TercetRetriever(index, tenant="users", similarity_top_k=3)
        bot = chatbot(retriever, llama_index_model(chosen_model()))
        for question in questions(QUESTIONS):
            response = bot.chat(question)
            print(cited(response.response, sources(response)))


if __name__ == "__main__":
    main()
