"""Index a few passages, search them, and see why each hit is there."""

from tercet import Document, HybridIndex

PASSAGES = {
    "keys": "Signing keys are rotated every 90 days. Run `vault rotate` on the primary node.",
    "backup": "Backups are taken nightly and kept for 30 days in a second region.",
    "incident": "When a credential leaks, revoke it first, then rotate everything it could reach.",
    "onboarding": "New colleagues get their laptop and accounts on the first morning.",
}

with HybridIndex.in_memory() as index:
    print(index.add(Document(text, id_) for id_, text in PASSAGES.items()))
    for question in ("how often do we change our keys?", "a password was stolen, what now?"):
        print(f"\n{question}")
        for hit in index.search(question, k=2):
            print(f"  {hit.score:.4f}  {hit.id:10}  {hit.reason}")
