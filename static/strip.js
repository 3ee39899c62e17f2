/**
 * The last seconds of the conversation as bars: your voice above the line, the answer below it.
 *
 * Decoration only (aria-hidden): the meters carry the numbers. One bar is one tenth of a second.
 */

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 640;
const MIDDLE = 60;
const BARS = 64;
const FLOOR_DBFS = -55;
const REST = 1.5; // height of a bar without sound

export class Strip {
  #up = new Array(BARS).fill(REST);
  #down = new Array(BARS).fill(REST);
  #upBars;
  #downBars;

  /** @param {SVGElement} svg  viewBox 0 0 640 120 */
  constructor(svg) {
    this.#upBars = this.#up.map((_, i) => bar(svg, i, "input"));
    this.#downBars = this.#down.map((_, i) => bar(svg, i, "output"));
    this.#draw();
  }

  /** One step of a tenth of a second. @param {number} inputDbfs @param {number} outputDbfs */
  step(inputDbfs, outputDbfs) {
    this.#up.shift();
    this.#up.push(height(inputDbfs));
    this.#down.shift();
    this.#down.push(height(outputDbfs));
    this.#draw();
  }

  clear() {
    this.#up.fill(REST);
    this.#down.fill(REST);
    this.#draw();
  }

  #draw() {
    this.#up.forEach((value, i) => {
      this.#upBars[i].setAttribute("y", (MIDDLE - 1 - value).toFixed(1));
      this.#upBars[i].setAttribute("height", value.toFixed(1));
    });
    this.#down.forEach((value, i) => {
      this.#downBars[i].setAttribute("y", MIDDLE + 1);
      this.#downBars[i].setAttribute("height", value.toFixed(1));
    });
  }
}

function bar(svg, index, side) {
  const rect = document.createElementNS(SVG, "rect");
  const pitch = WIDTH / BARS;
  rect.setAttribute("x", (index * pitch + pitch * 0.2).toFixed(1));
  rect.setAttribute("width", (pitch * 0.6).toFixed(1));
  rect.setAttribute("rx", "2");
  rect.setAttribute("class", side);
  svg.append(rect);
  return rect;
}

function height(dbfs) {
  return REST + Math.max(0, Math.min(1, (dbfs - FLOOR_DBFS) / -FLOOR_DBFS)) * (MIDDLE - 4);
}
