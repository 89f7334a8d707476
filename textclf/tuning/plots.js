for (const block of document.querySelectorAll("script.plot")) {
  const figure = JSON.parse(block.textContent);
  Plotly.newPlot(block.previousElementSibling, figure.data, figure.layout, { responsive: true, displaylogo: false });
}
