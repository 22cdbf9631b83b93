"""Why learned sparse retrieval works: walk one query through the model, and write what happens to a page.

    python examples/07_why_splade.py                                    writes build/why-splade.html
    python examples/07_why_splade.py "blood clot in the lung" page.html
    python examples/07_why_splade.py "blood clot in the lung" page.html start/       a model of tercet train mlm guesses

docs/why-splade.html is what it writes for its own query. For an index of yours: tercet explain --page page.html "query"

Needs tercet[evaluation], for BM25 and the metric. Offline; some seconds.
"""

import sys
from pathlib import Path

from tercet import HybridIndex
from tercet.encoders.mini import MiniEncoder
from tercet.evaluation import read_collection
from tercet.evaluation.walk import walk
from tercet.explaining.teaching import teaching_page

HERE = Path(__file__).parent
#: Our default query, and one in which two of its words mean something else.
QUERY, CONTRAST = "heart attack treatment protocol", "attack on a network protocol"

query = sys.argv[1] if len(sys.argv) > 1 else QUERY
guesser = MiniEncoder(sys.argv[3]) if len(sys.argv) > 3 else None
page = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE.parent / "build" / "why-splade.html"

collection = read_collection(HERE / "clinical")
index = HybridIndex.in_memory()
index.add(collection.documents, progress=False)

walked = walk(index, query, contrast=CONTRAST, judged=collection, guesser=guesser)
page.parent.mkdir(parents=True, exist_ok=True)
page.write_text(teaching_page(walked), encoding="utf-8")

for name, ids in walked.rankings.items():
    print(f"{name:16} nDCG@10 {walked.measured[name]:.3f}   {', '.join(ids[:4])}")
print(f"wrote {page}")
