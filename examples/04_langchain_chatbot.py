"""A chatbot in LangChain: a chain (LCEL) that retrieves, remembers and cites; offline, or `… openai:gpt-5-mini`."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from chat_models import INSTRUCTION, chosen_model, cited, handbook, langchain_model, questions
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnablePassthrough
from langchain_tercet import TercetRetriever

QUESTIONS = (
    "How do I filter by year?",
    "What is lost when the process is killed?",
    "May several programs open one directory?",
)
REMEMBERED = 4  # messages, two of each side
PROMPT = ChatPromptTemplate.from_messages(
    [("system", INSTRUCTION), MessagesPlaceholder("history"), ("human", "{question}")]
)


def passages(given: dict[str, Any]) -> str:
    return "\n\n".join(document.page_content for document in given["documents"])


def sources(given: dict[str, Any]) -> list[str]:
    documents: list[Document] = given["documents"]
    return [str(document.id) for document in documents]


def chatbot(retriever: BaseRetriever, model: BaseChatModel) -> Runnable[dict[str, Any], dict[str, Any]]:
    """{"question", "history"} in; the same with "documents", "passages", "answer" and "sources" out."""
    return (
        RunnablePassthrough.assign(documents=itemgetter("question") | retriever)
        | RunnablePassthrough.assign(passages=passages, sources=sources)
        | RunnablePassthrough.assign(answer=PROMPT | model | StrOutputParser())
    )


def main() -> None:
    with handbook() as index:
        retriever = TercetRetriever(index=index, tenant="users", k=3)
        bot = chatbot(retriever, langchain_model(chosen_model()))
        history: list[BaseMessage] = []
        for question in questions(QUESTIONS):
            reply = bot.invoke({"question": question, "history": history[-REMEMBERED:]})
            print(cited(reply["answer"], reply["sources"]))
            history += [HumanMessage(question), AIMessage(reply["answer"])]


if __name__ == "__main__":
    main()
