// What a test asks of the page that is open. Returns a list of complaints, each a line.
// arguments[0]: the width of the screen, in CSS pixels.
const width = arguments[0];
const complaints = [];

// -- nothing is wider than the screen, or cut off

// What may scroll sideways: code, tables of figures, and figures that need their size.
const SCROLLS = "pre, .table-wrapper:has(> table.figures), .wide-figure";
const TOLERANCE = 1; // pixel, for what is rounded

function name(element) {
  const classes = [...element.classList].map((word) => "." + word).join("");
  const id = element.id ? "#" + element.id : "";
  const text = element.textContent.trim().replace(/\s+/g, " ").slice(0, 60);
  return `<${element.tagName.toLowerCase()}${id}${classes}> ${JSON.stringify(text)}`;
}

function isShown(element) {
  return element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
}

const root = document.documentElement;
if (root.scrollWidth > width) {
  complaints.push(`the page is ${root.scrollWidth} pixels wide`);
}
for (const element of document.body.querySelectorAll("*")) {
  if (!isShown(element)) continue;
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  if (box.width === 0 || box.height === 0) continue;
  const inside = element.parentElement.closest(SCROLLS) !== null;
  if (root.scrollWidth > width && box.right > width + TOLERANCE && !inside) {
    complaints.push(`reaches ${Math.round(box.right)}: ${name(element)}`);
  }
  const hidden = element.scrollWidth - element.clientWidth;
  if (element.clientWidth > TOLERANCE && hidden > TOLERANCE && !element.matches(SCROLLS)) {
    if (["auto", "scroll"].includes(style.overflowX)) {
      complaints.push(`scrolls by ${hidden}: ${name(element)}`);
    } else if (["hidden", "clip"].includes(style.overflowX)) {
      complaints.push(`hides ${hidden}: ${name(element)}`);
    }
  }
}

// -- each picture is there

for (const image of document.images) {
  if (isShown(image) && !(image.complete && image.naturalWidth > 0)) {
    complaints.push(`no picture: ${image.src}`);
  }
}

// -- text can be told from what is behind it: WCAG 2.1, success criterion 1.4.3 (AA)

const brush = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
const colours = new Map();

// Return a colour of CSS as [red, green, blue, alpha], the last from 0 to 1.
function parsed(text) {
  if (!colours.has(text)) {
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = text;
    brush.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = brush.getImageData(0, 0, 1, 1).data;
    colours.set(text, [red, green, blue, alpha / 255]);
  }
  return colours.get(text);
}

function over(front, back) {
  const mixed = front.slice(0, 3).map((x, i) => x * front[3] + back[i] * (1 - front[3]));
  return [...mixed, 1];
}

function behind(element) {
  if (element === null) return parsed(getComputedStyle(root).colorScheme.includes("dark") ? "black" : "white");
  const own = parsed(getComputedStyle(element).backgroundColor);
  return own[3] === 1 ? own : over(own, behind(element.parentElement));
}

function luminance([red, green, blue]) {
  const [r, g, b] = [red, green, blue].map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(one, other) {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

const seen = new Set();
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const element = texts.currentNode.parentElement;
  if (!texts.currentNode.data.trim() || !isShown(element)) continue;
  const style = getComputedStyle(element);
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
  const back = behind(element);
  const front = over(parsed(style.color), back);
  const found = contrast(front, back);
  const key = [front, back, large].join();
  if (found < (large ? 3 : 4.5) && !seen.has(key)) {
    seen.add(key);
    const [x, y] = [front, back].map((colour) => colour.slice(0, 3).map(Math.round));
    complaints.push(`contrast ${found.toFixed(2)}, ${x} on ${y}: ${name(element)}`);
  }
}

return complaints;
