'use strict';
// Shows the buttons that copy, where the browser can; without this, the text is there to be selected.
document.addEventListener('DOMContentLoaded', () => {
    if (!navigator.clipboard) {
        return;
    }
    for (const button of document.querySelectorAll('.idem-copy')) {
        button.hidden = false;
    }
    document.addEventListener('click', async (event) => {
        const button = event.target.closest('.idem-copy');
        if (!button) {
            return;
        }
        await navigator.clipboard.writeText(button.dataset.copy);
        button.classList.add('idem-copied');
        setTimeout(() => button.classList.remove('idem-copied'), 1500);
    });
});
