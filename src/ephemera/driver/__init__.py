"""The driver: brings environments up, watches over them, takes them down and proves that they are gone.

It runs the project's own program, found from the working directory upwards; it never imports components or stacks.
"""
