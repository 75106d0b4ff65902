// Probabilities as rows: a name, a bar, a number; and a mark for a share that was counted.

export function barRow(name, probability, counted = null, picture = null) {
  const row = document.createElement("div");
  row.className = "bar-row";
  row.title = counted === null ? "" : `the share of random recalls that ended here: ${counted.toFixed(2)}`;
  const label = document.createElement("span");
  label.textContent = name;
  const track = document.createElement("span");
  track.className = "track";
  const fill = document.createElement("span");
  fill.className = "fill";
  fill.style.width = `${100 * probability}%`;
  track.append(fill);
  if (counted !== null) {
    const mark = document.createElement("span");
    mark.className = "mark";
    mark.style.left = `${100 * counted}%`;
    track.append(mark);
  }
  const value = document.createElement("b");
  value.textContent = probability < 0.001 && probability > 0 ? "<0.001" : probability.toFixed(3);
  row.append(...(picture ? [picture] : []), label, track, value);
  return row;
}
