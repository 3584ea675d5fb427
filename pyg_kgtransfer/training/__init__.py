"""The loop, its batches and its only artefact."""
