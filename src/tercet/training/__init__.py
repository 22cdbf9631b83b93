"""Training: examples and a model in, a checkpoint folder out. `data → losses, regularizers → trainer → checkpoint`.

Needs `pip install tercet[train]`. Nothing here is imported when indexing or searching, and nothing here knows an index:
mining is given a search function, a teacher is given texts.
"""
