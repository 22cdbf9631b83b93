"""The same question to each stage alone and to all of them together."""

from tercet import HybridIndex, SearchPlan

PASSAGES = [
    "Acute myocardial infarction is treated with aspirin and reperfusion within two hours.",
    "The heart symbol is used on greeting cards.",
    "An attack on the protocol was described at a security conference.",
    "Cardiac arrest: start chest compressions and call for a defibrillator.",
]
PLANS = {
    "dense": SearchPlan(stages=("dense",)),
    "sparse": SearchPlan(stages=("sparse",)),
    "dense + sparse": SearchPlan(stages=("dense", "sparse")),
    "late decides": SearchPlan(mode="cascade"),
    "all three": SearchPlan(),
}

with HybridIndex.in_memory() as index:
    index.add(PASSAGES)
    for name, plan in PLANS.items():
        print(f"{name:15}", index.search("heart attack treatment protocol", plan=plan)[0].text)
