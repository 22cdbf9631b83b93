"""The torch side: heads, the recipe of the shipped model, and the export of a checkpoint to its runtime graph.

Needs `pip install tercet[models]`. Nothing here is imported when indexing or searching.
"""
