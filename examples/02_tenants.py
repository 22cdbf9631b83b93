"""One index, several tenants: each gets a view that sees, finds and deletes its own documents alone."""

from tercet import Document, HybridIndex

with HybridIndex.in_memory() as index:
    for tenant, days, rule in (
        ("Acme", 30, "all of them in August."),
        ("Globex", 25, "whenever the calendar is free."),
        ("Initech", 15, "ask your eight bosses first."),
    ):
        view = index.for_tenant(tenant)  # costs nothing: store and model are shared
        view.add(Document(f"{tenant}'s holidays: {days} days a year, {rule}", "holidays", {"days": days}))

    for tenant in ("Acme", "Initech"):
        hits = index.for_tenant(tenant).search("how many holidays do I have?")
        print(tenant, "→", [(hit.id, hit.text) for hit in hits])

    print("Initech, asked for Acme's →", index.for_tenant("Initech").search("August", where={"tenant": "Acme"}))
    generous = index.search("holidays", where={"days": {"gte": 20}, "not": {"tenant": "Acme"}})
    print("all tenants, 20 days or more, not Acme →", [hit.id for hit in generous])
