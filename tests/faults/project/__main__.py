from box import box

from ephemera import run

run(box)
