// The script of report.html: draws its charts.
spaCharts.board(document.body);
