"""A jury of one: which of two pictures does a person prefer, not knowing which is whose?

    python benchmarks/jury.py new/ old/ --photos=photos/ --out=jury.html

makes a page of all pictures that both folders have under one name, two beside each other in random
order, without labels, and the photo above where there is one. Open it in a browser, click on the
better one of each pair (or press 1, 2, or 0 for neither); at the end it says how often each folder
was chosen, and gives the votes as JSON. Where jury and measures part, the measures are wrong.
"""

import argparse
import base64
import html
import io
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tfstyle import images

PAGE = """<!doctype html>
<meta charset="utf-8"><title>Which is the better picture?</title>
<style>
body {{ font: 16px sans-serif; margin: 1em auto; max-width: 1200px; text-align: center }}
.pair {{ display: none }} .pair.now {{ display: block }}
.pair button {{ border: 0; padding: 4px; background: none; cursor: pointer; width: 49% }}
.pair button:hover, .pair button:focus {{ background: #48f }}
.pair button img {{ width: 100% }} .photo {{ max-height: 180px }} pre {{ text-align: left }}
</style>
<p id="told">Which is the better picture? Click on it, or press 1 or 2; 0 for neither.</p>
{pairs}
<pre id="votes"></pre>
<script>
const key = JSON.parse(atob("{key}")), votes = [];
const pairs = [...document.querySelectorAll(".pair")];
function show() {{
  pairs.forEach((pair, i) => pair.classList.toggle("now", i === votes.length));
  if (votes.length < pairs.length) return;
  const counts = {{}};
  votes.forEach((vote) => counts[vote.chosen] = (counts[vote.chosen] || 0) + 1);
  document.getElementById("told").textContent = "Thank you. " +
    Object.entries(counts).map(([name, count]) => name + ": " + count).join(", ");
  document.getElementById("votes").textContent = JSON.stringify({{counts, votes}}, null, 2);
}}
function vote(place) {{
  if (votes.length >= pairs.length) return;
  const pair = key[votes.length];
  votes.push({{name: pair.name, chosen: place ? pair.order[place - 1] : "neither"}});
  show();
}}
document.addEventListener("keydown", (event) => {{
  if ("012".includes(event.key)) vote(Number(event.key));
}});
show();
</script>
"""


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs=2, type=Path, help="of pictures with the same names")
    parser.add_argument("--photos", type=Path, help="what they were made of, by the same names")
    parser.add_argument("--out", type=Path, default=Path("jury.html"))
    parser.add_argument("--seed", type=int, default=0, help="of the order")
    options = parser.parse_args()
    by_name = [{path.stem: path for path in images.list_images(each)} for each in options.folders]
    names = sorted(set(by_name[0]) & set(by_name[1]))
    if not names:
        sys.exit(f"jury: no picture of one name in {options.folders[0]} and {options.folders[1]}")
    of_photos = images.list_images(options.photos) if options.photos else []
    photos = {path.stem: path for path in of_photos}
    rng = np.random.default_rng(options.seed)
    rng.shuffle(names)
    key, pairs = [], []
    for name in names:
        order = rng.permutation(2)
        key.append({"name": name, "order": [str(options.folders[side]) for side in order]})
        cells = [
            f'<button onclick="vote({place + 1})"><img src="{embedded(by_name[side][name])}">'
            "</button>"
            for place, side in enumerate(order)
        ]
        # "cat_swirls.png" is of the photo "cat.jpg" too.
        photo = photos.get(name) or photos.get(name.split("_")[0])
        above = f'<img class="photo" src="{embedded(photo, 256)}"><br>' if photo else ""
        pairs.append(f'<div class="pair">{above}{"".join(cells)}</div>')
    # Not hidden, but not to be read by chance either.
    hidden = base64.b64encode(json.dumps(key).encode()).decode()
    options.out.write_text(PAGE.format(pairs="\n".join(pairs), key=html.escape(hidden)), "utf-8")
    print(f"{options.out}: {len(names)} pairs")


def embedded(path, size=768):
    """A picture as the address of an image: its file's name would tell."""
    picture = Image.fromarray(images.to_uint8(images.fit(images.read(path), size)))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=92)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


if __name__ == "__main__":
    main()
