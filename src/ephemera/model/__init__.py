"""The shared language: names, labels, settings, images and the typed outputs document. Imports nothing of ours."""
