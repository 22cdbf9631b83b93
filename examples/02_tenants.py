"""One index, several tenants: the filter holds inside every stage, so each tenant gets its own best hits."""

from tercet import Document, HybridIndex

with HybridIndex.in_memory() as index:
    index.add(
        Document(
            f"{tenant}'s holidays: {days} days a year, {rule}", f"{tenant}/holidays", {"tenant": tenant, "days": days}
        )
        for tenant, days, rule in (
            ("Acme", 30, "all of them in August."),
            ("Globex", 25, "whenever the calendar is free."),
            ("Initech", 15, "ask your eight bosses first."),
        )
    )
    for tenant in ("Acme", "Initech"):
        hits = index.search("how many holidays do I have?", where={"tenant": tenant})
        print(tenant, "→", [hit.text for hit in hits])
    generous = index.search("holidays", where={"days": {"gte": 20}, "not": {"tenant": "Acme"}})
    print("20 days or more, not Acme →", [hit.id for hit in generous])
